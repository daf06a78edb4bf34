"""The client of the tests: `websocket` has its connections; `checked` and `http` check the contract."""
