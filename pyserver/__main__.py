"""`python -m pyserver`."""

from pyserver.cli.main import main

raise SystemExit(main())
