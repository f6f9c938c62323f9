module quicktune

go 1.26.0
