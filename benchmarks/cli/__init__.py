"""How long the `savedmodel` command takes, beside `saved_model_cli`, from process start to end."""
