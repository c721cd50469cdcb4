"""The browser studio: make, keep, mix, animate and edit faces, watch runs; nothing leaves this computer."""
