"""The synthetic images as something that people can consult: kept, searched, reviewed, sent out."""
