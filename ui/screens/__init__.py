"""The three screens: begin, one thread, all threads. Each is a function the frame calls.

Not Streamlit's own `pages/`: a folder of that name is run page by page before the frame had its say, and a page with
a path of its own makes the browser ask for its health below that path first. Here the query says which: `/`,
`/?thread=ID`, `/?page=threads`; back and forward work, a link can be shared.
"""
