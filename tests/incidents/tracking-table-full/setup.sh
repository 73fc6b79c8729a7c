fill_tracking 60
