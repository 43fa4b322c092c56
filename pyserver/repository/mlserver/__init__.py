"""MLServer's folders: `settings.json` and `model-settings.json`, read as MLServer 1.7 reads them.

A model of such a folder becomes an ordinary configuration with backend "mlserver". Nothing of the user's is imported
here: what a class path names is found in the model's own process.
"""
