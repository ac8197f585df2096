"""Census: every decoder of the installed transformers, audited by `make census`."""
