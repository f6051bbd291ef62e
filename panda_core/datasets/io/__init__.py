"""From files to arrays: images, masks, archives, downloads."""
