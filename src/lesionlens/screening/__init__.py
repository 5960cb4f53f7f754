"""Screening whole archives: sources of images, a resumable job, engines that run it, outputs."""
