"""What players and servers tell each other in HTTP headers: CMCD, CMSD and the structured fields they are made of."""
