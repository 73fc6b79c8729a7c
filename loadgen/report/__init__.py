"""From a run directory to something a person reads: one offline HTML page, a few lines on the terminal.

Everything here takes the plain JSON values that are in the run directory and gives text back; nothing
opens a file of a run, a socket or a clock, so any old run can be looked at again.

    words.py         numbers and strings of strangers -> words: "1.24 ms", "28,232", visible control characters
    columns.py       series.jsonl -> columns: differences, fewer points with no extreme lost
    charts.py        columns -> charts, as the page's script draws them
    html.py          all of it -> report.html
    text.py          the summary -> what is seen when a run ends
    matrix.py        the same for a matrix: its page and its table for spreadsheets
    matrix_chart.py  its charts, drawn here as SVG
    matrix_text.py   what is seen when a matrix ends
"""
