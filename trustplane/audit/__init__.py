"""The audit room: can it be proven?"""
