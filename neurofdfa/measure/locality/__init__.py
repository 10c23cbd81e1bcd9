"""The locality certificate: what a layer reads when it learns."""
