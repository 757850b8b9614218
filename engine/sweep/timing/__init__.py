"""Time: the measured pace of steps, and from it packings and estimates."""
