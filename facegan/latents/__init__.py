"""Points in the latent spaces: kept in files, near a face."""
