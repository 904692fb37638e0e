"""The lineage room: where did it come from, what may it be used for, what of its budget is left?"""
