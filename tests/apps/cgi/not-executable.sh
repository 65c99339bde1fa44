#!/bin/sh
not to be run
