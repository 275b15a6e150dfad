from kubewright.cli import main

main()
