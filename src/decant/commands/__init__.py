"""What the commands of `decant` do, one file each; `decant.cli` holds their options and help."""
