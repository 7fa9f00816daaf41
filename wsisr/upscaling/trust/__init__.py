"""How far a result may be off: a calibrated bound of its error in every cell, as a layer of its own."""
