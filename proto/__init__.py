"""The wire contracts; the modules beside the `.proto` files are generated (`make proto`)."""
