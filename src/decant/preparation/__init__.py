"""What the prepare stage is built from: cleaning, splits, augmented copies."""
