"""Strangers' bytes against everything that reads them: whatever comes, it is refused or it is spelled in the one way.

make fuzz [TARGET=decoder] [SECONDS=600]      long runs, guided by coverage; what they find stays in out/fuzz
tests/fuzz/corpus/                            small inputs that reached new code once, in hexadecimal
"""
