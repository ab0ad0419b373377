"""The sidecar: the promises of eos over HTTP, for a program in any language."""
