"""The defences that are put on an encoder or minimised, one file each; `protection.recipes` lists them."""
