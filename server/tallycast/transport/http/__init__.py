"""HTTP/1.1 connections and what all HTTP endpoints share."""
