"""What tests share: the command line as a process and in this one, made-up lanes and odd environments."""
