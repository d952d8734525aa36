"""The interface: Streamlit pages, and beside them a WebSocket that carries choices and words.

Reads and writes the store; shows the live feed. Must not know how thoughts come to be.
"""
