"""What can be measured of one text, by itself and against the text it was made of, without a model's opinion."""
