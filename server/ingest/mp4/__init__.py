"""Files of the ISO base media format: CMAF segments and init segments, and boxes that are read or changed."""
