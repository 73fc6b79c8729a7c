"""The documentation site: what is in it, made out of this repository as plain Markdown, before any tool renders it.

tree        where each file of the repository is in the site
links       links of a page, rewritten for the site, and the form of those that lead elsewhere
collect     all pages and files of the site, by following links
reference   pages made from the code: keys, commands, limits, metrics, counters, errors
llms        llms.txt and llms-full.txt
check       what is wrong with the rendered pages
hooks       events of mkdocs

`python -m website` writes the sources to build/docs; mkdocs, in a virtual environment of its own, renders them to
build/site. Nothing of loadgen imports this package, and no installation has it.
"""
