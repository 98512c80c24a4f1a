"""What a person types: `decant <command>`, one file each."""
