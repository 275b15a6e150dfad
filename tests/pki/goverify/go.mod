module goverify

go 1.24
