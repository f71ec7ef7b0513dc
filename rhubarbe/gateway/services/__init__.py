"""What nodes connect to: where one image comes in, and a manifest goes out."""
