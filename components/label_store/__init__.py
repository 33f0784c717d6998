"""Where soft labels live between the teacher that writes them and the students that read them."""
