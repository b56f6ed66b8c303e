"""Where a data set comes from: folders, archives, and the data sets of tutorials."""
