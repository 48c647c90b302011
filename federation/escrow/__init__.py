"""The daily deposit of a prefix at its superior, and serving from it when the node of the prefix is gone."""
