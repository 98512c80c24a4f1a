"""Building blocks of the prepare stage: cleaning, splits, augmented copies."""
