namespace box
