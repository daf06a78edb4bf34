"""The services, with a store that answers when the test says so."""
