"""Which rows of a table are odd? Detectors, how they are tried, and how the tries are judged.

In the order of the imports: `rows` (reads a table), `protocols` (who sees which rows), `baselines`,
`vae` and `detectors` (what fits and scores), `ranking` (ROC-AUC and its like, weighted), `trial`
(one table, all detectors, several seeds), `detection_report` (what a person sees of it).
"""
