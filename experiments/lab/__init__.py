"""What computes and stores one cell: materials, programs, judging, and the files they end in."""
