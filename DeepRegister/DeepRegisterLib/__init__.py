"""What DeepRegister adds to 3D Slicer: `scene` (MRML, no Qt) and, above it, `panel` (Qt)."""
