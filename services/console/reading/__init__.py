"""From records, log and artifacts to what the API and the pages say. Reads only; blocks, so it runs at the desk."""
