"""Every file is a benchmark, run by the command ``bench``; ratios, never seconds alone."""
