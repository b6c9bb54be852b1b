"""Versions of the relational schema, oldest first. A version that was released is never changed."""
