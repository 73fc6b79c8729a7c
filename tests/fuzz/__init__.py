"""Everything that reads is given what no writer wrote.

reader: the contract of a reader, and one try with it
mutation: damaged and hostile input out of valid input
readers: the table of all readers
test_readers: a few hundred tries of each, and every input that once broke one (tests/data/fuzz)
run: `make fuzz`, for as long as it is told to
"""
