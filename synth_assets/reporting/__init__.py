"""The report for people: one HTML file made of aggregates and samples of the lake's tables."""
