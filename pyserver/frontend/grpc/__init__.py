"""The V2 protocol over gRPC: engines that do HTTP/2, and the way from their thread to the main loop and back."""
