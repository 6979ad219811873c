"""What the pods share: their document, their ports, their voice, Git folders, manifests, the machine."""
